"""Every exception hpsearch raises on purpose.

```
HpsearchError
├── UserError              a mistake in what the user gave: one line, exit code 2
│   ├── StudyFileError       a study file says something that cannot be meant
│   ├── StudyChangedError    a stored study was started with other settings
│   ├── UnknownStudyError    no study of that name in the database
│   ├── DataError            the data cannot be had, or are not what they should be
│   ├── DatabaseError        the database cannot be opened, written or understood
│   │   ├── DatabaseUnavailableError  it is out of reach or locked just now; waiting may help
│   │   ├── NoStudiesError     it holds no hpsearch studies, and was not to be given any
│   │   ├── OldDatabaseError   an older hpsearch wrote it, and it was not to be brought up to date
│   │   ├── NewDatabaseError   a newer hpsearch wrote it
│   │   └── ForeignDatabaseError   another program's tables are in it
│   └── TrackingError        the tracking server or its port cannot be used
├── LeaseLostError         a worker came back too late; its result is not counted
├── NotHandedBackError     a worker had to leave without handing back what it holds
├── CannotDrawError        a figure needs what the study does not have, or not yet
├── TrainingStoppedError   training was asked to stop before its last epoch
└── Interrupted            the search was asked to stop, and did; nothing is lost
```
"""

from __future__ import annotations


class HpsearchError(Exception):
    """Base of everything raised here on purpose."""


class UserError(HpsearchError):
    """A mistake the caller can mend; its text says how, in one line."""


class StudyFileError(UserError):
    """The study file cannot be used; `problems` holds one line per mistake."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class StudyChangedError(UserError):
    """The database holds a study of this name with other settings."""


class UnknownStudyError(UserError):
    """The database holds no study of this name."""


class DataError(UserError):
    """The data cannot be read, or their bytes are not the expected ones."""


class DatabaseError(UserError):
    """The database cannot be opened, written, or is of another version."""


class DatabaseUnavailableError(DatabaseError):
    """The database cannot be reached, or is locked, just now; nothing was changed, or all of it."""


class NoStudiesError(DatabaseError):
    """The database holds no hpsearch studies yet; waiting may help."""


class OldDatabaseError(DatabaseError):
    """An older hpsearch wrote the database; opening it to write brings it up to date."""


class NewDatabaseError(DatabaseError):
    """Another version of hpsearch, newer than this one, wrote the database."""


class ForeignDatabaseError(DatabaseError):
    """The tables in the database are another program's."""


class TrackingError(UserError):
    """The tracking destination cannot be used."""


class LeaseLostError(HpsearchError):
    """The claim's lease lapsed and somebody else owns the trials now."""


class NotHandedBackError(HpsearchError):
    """A worker that was asked to stop left what it holds to its lease; nothing is lost."""


class CannotDrawError(HpsearchError):
    """A figure needs what the study does not have, or not yet; its text says what."""


class TrainingStoppedError(HpsearchError):
    """Training was asked to stop before its last epoch; there is no result."""


class Interrupted(HpsearchError):  # noqa: N818 - not an error: somebody asked for it
    """The search was asked to stop and did; the same command goes on with it."""
