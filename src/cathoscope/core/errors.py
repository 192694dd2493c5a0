"""Errors that tell a person what was expected, what was found and what to type instead."""

from __future__ import annotations

from pathlib import Path


class CathoscopeError(Exception):
    """Base of every error raised on purpose.

    Parameters
    ----------
    problem
        One sentence: what is wrong.
    where
        The file, optionally with the line (``"study.toml, line 12"``).
    expected, found
        What would have been right and what is there instead.
    cure
        What to type or do.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        where: str | Path | None = None,
        expected: str | None = None,
        found: str | None = None,
        cure: str | None = None,
    ) -> None:
        self.problem = problem
        self.where = None if where is None else str(where)
        self.expected = expected
        self.found = found
        self.cure = cure
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.problem if self.where is None else f"{self.where}: {self.problem}"]
        for word, text in (("expected", self.expected), ("found", self.found), ("cure", self.cure)):
            if text is not None:
                lines.append(f"  {word + ':':<10}{text}")
        return "\n".join(lines)


class RecipeError(CathoscopeError):
    """The recipe cannot be followed; nothing has been computed."""

    exit_code = 2


class MeasurementError(CathoscopeError):
    """A raw file, or one scan in it, cannot be used; it is set aside and the rest goes on."""

    exit_code = 3


class StudyError(CathoscopeError):
    """The study on disk cannot be opened, written or continued."""

    exit_code = 4


class SchemaError(CathoscopeError):
    """An array does not have the name, dims, unit or kind that the schema states."""

    exit_code = 5


def not_enough_memory(error: MemoryError, *, where: str | Path | None = None) -> CathoscopeError:
    """The error a person can act on where the machine, or a limit on it, had no more memory to give."""
    return StudyError(
        "there is not enough memory",
        where=where,
        found=str(error) or None,
        cure="close other programs, or run again with less --memory or fewer --threads: what is finished is kept",
    )


class Interrupted(CathoscopeError):
    """The user stopped the run; what is finished is kept."""

    exit_code = 130
