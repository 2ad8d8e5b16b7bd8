"""Update rules, each for a whole population: every hyperparameter is a column over the members.

Symbols are the papers': W parameters, g gradient, lr learning rate. Before the rule come, on
weights alone, the penalties l2, l1 and linf, which are added to the gradient. The decoupled
weight_decay is added to the rule's step u instead: W <- W - (u + lr weight_decay W). For plain SGD
l2 and weight_decay are the same.
"""

from hpsearch.nn.optimizers.population import OPTIMIZERS, PopulationOptimizer, grouping_order
from hpsearch.nn.optimizers.rule import Rule

__all__ = ["OPTIMIZERS", "PopulationOptimizer", "Rule", "grouping_order"]
