"""The search of studies/mnist-500.toml as one writes it today: Optuna, PyTorch and MLflow.

Ordinary user code, measured by end_to_end.py. It knows nothing of hpsearch:

    python naive_search.py FOLDER-WITH-MNIST 100 2    # trials, processes
"""

# ruff: noqa: ANN001, ANN201, ANN202 - a script as people write them

import gzip
import multiprocessing
import sys
from itertools import pairwise
from pathlib import Path

import mlflow
import numpy as np
import optuna
import torch
from torch import nn
from torch.nn import functional

OPTUNA = "sqlite:///optuna.db"
MLFLOW = "sqlite:///mlflow.db"
NAME = "mnist-500"
EPOCHS = 50
BATCH = 100


def load(folder):
    """400 training and 100 validation images of MNIST's first 500, shuffled."""
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(16 + 500 * 784), np.uint8, offset=16).reshape(500, 784)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(8 + 500), np.uint8, offset=8)
    order = np.random.default_rng(0).permutation(500)
    x = torch.from_numpy(x[order].astype(np.float32) / 255)
    y = torch.from_numpy(y[order].astype(np.int64))
    return x[:400], y[:400], x[400:], y[400:]


def build():
    """784-100x6-10 with ReLU and He initialisation."""
    widths = [784] + [100] * 6 + [10]
    layers = []
    for fan_in, fan_out in pairwise(widths):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train_epoch(network, optimizer, x, y):
    """One epoch of mini-batches; mean loss and accuracy."""
    network.train()
    loss_sum = correct = 0.0
    for rows in torch.randperm(len(x)).split(BATCH):
        optimizer.zero_grad()
        logits = network(x[rows])
        loss = functional.cross_entropy(logits, y[rows])
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(rows)
        correct += (logits.argmax(1) == y[rows]).sum().item()
    return loss_sum / len(x), correct / len(x)


def evaluate(network, x, y):
    """Loss and accuracy of a split."""
    network.eval()
    with torch.no_grad():
        logits = network(x)
        loss = functional.cross_entropy(logits, y).item()
        return loss, (logits.argmax(1) == y).float().mean().item()


def make_objective(folder):
    """Trains one trial and logs it."""
    x, y, validation_x, validation_y = load(folder)

    def objective(trial):
        rate = trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True)
        decay = trial.suggest_float("weight_decay", 1e-8, 1e-4, log=True)
        network = build()
        optimizer = torch.optim.SGD(network.parameters(), lr=rate, weight_decay=decay)
        with mlflow.start_run(run_name=f"trial {trial.number}"):
            mlflow.log_params(trial.params)
            for epoch in range(1, EPOCHS + 1):
                loss, accuracy = train_epoch(network, optimizer, x, y)
                validation_loss, validation_accuracy = evaluate(network, validation_x, validation_y)
                mlflow.log_metrics(
                    {
                        "training_loss": loss,
                        "training_accuracy": accuracy,
                        "validation_loss": validation_loss,
                        "validation_accuracy": validation_accuracy,
                    },
                    step=epoch,
                )
        return validation_accuracy

    return objective


def work(number, trials, folder, lock):
    """One process's share of the trials."""
    torch.set_num_threads(1)
    torch.manual_seed(number)
    mlflow.set_tracking_uri(MLFLOW)
    with lock:  # the first one makes the tables
        mlflow.set_experiment(NAME)
    study = optuna.load_study(
        study_name=NAME, storage=OPTUNA, sampler=optuna.samplers.TPESampler(seed=number)
    )
    study.optimize(make_objective(folder), n_trials=trials)


def main():
    """Create the study, share its trials out, and show the best."""
    folder, trials, processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    study = optuna.create_study(study_name=NAME, storage=OPTUNA, direction="maximize")
    lock = multiprocessing.Lock()
    shares = [trials // processes + (number < trials % processes) for number in range(processes)]
    workers = [
        multiprocessing.Process(target=work, args=(number, share, folder, lock))
        for number, share in enumerate(shares)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    died = [worker.exitcode for worker in workers if worker.exitcode]
    if died:
        sys.exit(f"{len(died)} of {processes} processes died, with exit codes {died}")
    print(study.best_value, study.best_params)


if __name__ == "__main__":
    main()
