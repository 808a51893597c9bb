"""Two columns of a CSV file: ids, and something said of each."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

from lensbench.errors import DatasetError


def read_ids_and(column: str, file: Path) -> list[tuple[str, str]]:
    """Return `id` and another column of each line of a CSV file; further columns do not matter.

    Ids come in Unicode's composed form, as those of a catalogue; values and columns without outer
    spaces.

    Raises:
        DatasetError: The file cannot be read, or its first line does not name both columns.
    """
    try:
        # Spreadsheets put a mark before the first column's name; utf-8-sig takes it away.
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, restval="")
            columns = [name.strip() for name in table.fieldnames or []]
            table.fieldnames = columns
            if not {"id", column} <= set(columns):
                raise DatasetError(
                    f"{file}: the first line must name the columns id and {column}, separated by "
                    f"commas; it names {', '.join(columns) or 'none'}"
                )
            if columns.count("id") > 1 or columns.count(column) > 1:
                raise DatasetError(
                    f"{file}: more than one column is called id or {column}; the first line names "
                    f"{', '.join(columns)}: keep one of each"
                )
            return [
                (unicodedata.normalize("NFC", line["id"]), line[column].strip()) for line in table
            ]
    except OSError as error:
        raise DatasetError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file}: cannot be read as CSV in UTF-8 ({error})") from error
