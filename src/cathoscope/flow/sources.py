"""The user's files while a study runs: what was read must be what the plan was made of, or the result is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cathoscope.core.errors import MeasurementError
from cathoscope.core.links import FileLink, words_of_file


class SourceChanged(MeasurementError):
    """A file is no longer what it was when the run began; what was computed from it is not kept."""


@dataclass(frozen=True)
class Sources:
    """The files that a step reads, as they were when the run was planned."""

    links: tuple[FileLink, ...]

    def require_unchanged(self) -> None:
        """Refuse if a file has been written to, replaced or taken away since the run was planned.

        Raises
        ------
        SourceChanged
            Naming the first such file, what it was and what it is.
        """
        changed = [(link, found) for link in self.links if (found := link.change()) is not None]
        if not changed:
            return
        link, found = changed[0]
        more = f"; {len(changed) - 1} more files have changed" if len(changed) > 1 else ""
        raise SourceChanged(
            "this file has changed under the running study; what was computed from it meanwhile is not kept",
            where=link.file,
            expected=f"as when the run began: {words_of_file(link.size, link.modified_ns, link.sampled_hash)}",
            found=f"{found}{more}",
            cure="put it back, or let it be written to its end, and run again: what was finished before is kept",
        )


def changes_since(recorded: Sequence[Mapping[str, Any]], links: Iterable[FileLink], data_folder: Path) -> list[str]:
    """What happened to the files of a measurement since an earlier run, one line for each file that changed.

    ``recorded`` are the links that the study remembers (`FileLink.record`). Files that moved with their content, and
    files that are new, are not told of: a recipe says so itself.
    """
    now = {link.path: link for link in links}
    contents = {link.sampled_hash for link in now.values()}
    told = []
    for one in recorded:
        path, digest = str(one["path"]), str(one["sampled_hash"])
        link = now.get(path)
        if link is None and digest not in contents and not (data_folder / path).exists():
            told.append(f"{path} of the last run is gone: what depends on it is computed again without it")
        elif link is not None and link.sampled_hash != digest:
            before = words_of_file(int(one["size"]), int(one["modified_ns"]), digest)
            after = words_of_file(link.size, link.modified_ns, link.sampled_hash)
            told.append(
                f"{path} has changed since the last run: what depends on it is computed again ({before}; now {after})"
            )
    return told
