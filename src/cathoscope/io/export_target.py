"""Files that appear whole or not at all.

What is being written has a temporary name, ``.NAME.part``, and is renamed when it is complete. A kill leaves such a
name and never half a file under the real one; the next export of the same target begins it anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.io.export_volume import Block, Volume

Store = Callable[[Volume, Block, NDArray[Any]], None]
"""Takes one block as [channel, z, y, x]; may be called from several threads at once."""


@dataclass(frozen=True)
class Output:
    """One file or folder of an export.

    ``temperature`` is the one that goes into it, None for all. ``opened`` makes the file under the name it is given
    and takes the blocks; on leaving it the file is complete.
    """

    target: Path
    volumes: tuple[Volume, ...]
    temperature: int | None
    opened: Callable[[Path], AbstractContextManager[Store]]


def refuse_existing(targets: Sequence[Path]) -> None:
    """Raise before anything is computed if a target is there.

    Raises
    ------
    CathoscopeError
        Naming the targets that are there.
    """
    there = [target.name for target in targets if target.exists()]
    if there:
        more = f" and {len(there) - 5} more" if len(there) > 5 else ""
        raise CathoscopeError(
            "an earlier export is there",
            where=targets[0].parent,
            found=", ".join(there[:5]) + more,
            cure="choose another folder with -o, or add --overwrite",
        )


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary name beside ``target`` that becomes ``target`` when the block ends well, replacing what was there.

    Raises
    ------
    StudyError
        If the place cannot be written, or the disk is full.
    """
    part = target.with_name(f".{target.name}.part")
    old = target.with_name(f".{target.name}.old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
        yield part
        _remove(old)
        # A folder cannot replace a folder in one move, so the old one steps aside.
        if target.is_dir():
            os.rename(target, old)
        os.replace(part, target)
        _remove(old)
    except OSError as error:
        _remove(part)
        raise StudyError(
            "the export could not be written",
            where=target,
            found=str(error),
            cure="free some space, or choose another folder with -o",
        ) from error
    except BaseException:
        _remove(part)
        raise


def _remove(path: Path) -> None:
    """Delete a file or folder if it is there; where that fails, writing fails next and says why."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def temperature_names(volume: Volume) -> list[str]:
    """What is added to a file name for each temperature, such as ``_02_180C``; nothing if there is none.

    The number comes first: files sort as measured, and one temperature may occur twice.
    """
    if volume.temperatures is None:
        return [""]
    return [f"_{number:02d}_{value:.6g}C" for number, value in enumerate(volume.temperatures, start=1)]
