"""A file appears whole or not at all."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lensbench.errors import ConfigError
from lensbench.whole_file import require_room, write_whole, written_whole


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    with written_whole(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_error_half_way_leaves_everything_as_it_was(tmp_path, error, old):
    path = tmp_path / "a.json"
    if old:
        path.write_text(old)

    def interrupted():
        with written_whole(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert [file.read_text() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_what_cannot_take_its_place_is_removed(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()

    def in_the_place_of_a_folder():
        with written_whole(folder) as partial:
            partial.write_text("whole")

    with pytest.raises(OSError, match="directory"):
        in_the_place_of_a_folder()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_pipe_is_written_to_and_a_link_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text)
        write_whole(pipe, "whole")
        assert read.result(timeout=20) == "whole"
    assert pipe.is_fifo()

    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "a.json"
    target.write_text("old")
    (tmp_path / "a.json").symlink_to(target)
    write_whole(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").is_symlink()
    assert target.read_text() == "new"


OTHER = """
import sys, pathlib
from lensbench.whole_file import written_whole
with written_whole(pathlib.Path(sys.argv[1])) as partial:
    partial.write_text("theirs")
"""


def test_two_processes_do_not_share_what_they_write(tmp_path):
    path = tmp_path / "a.json"
    with written_whole(path) as partial:
        partial.write_text("ours")
        subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True)
        assert path.read_text() == "theirs"
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_may_not_be_written_to_is_refused_beforehand(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir()
    (tmp_path / "link.json").symlink_to(closed / "a.json")
    require_room(closed / "new" / "a.json")
    monkeypatch.setattr(os, "access", lambda place, _: place != closed)
    for file in (closed / "new" / "a.json", tmp_path / "link.json"):
        with pytest.raises(ConfigError, match=f"you may not write into {closed}"):
            require_room(file)
    assert list(closed.iterdir()) == []


def test_what_can_be_replaced_or_written_to_is_no_obstacle(tmp_path):
    (tmp_path / "a.json").touch(0o444)
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "a.json", tmp_path / "pipe", Path("/dev/stdout")):
        require_room(file)
    write_whole(tmp_path / "a.json", "whole")
    assert (tmp_path / "a.json").read_text() == "whole"


def test_links_lead_to_a_new_folder_or_are_refused(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "new" / "a.json")
    require_room(tmp_path / "link.json")
    write_whole(tmp_path / "link.json", "whole")
    assert (tmp_path / "new" / "a.json").read_text() == "whole"
    assert (tmp_path / "link.json").is_symlink()
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    with pytest.raises(ConfigError, match=r"loop\.json cannot be written: Symlink loop"):
        require_room(tmp_path / "loop.json")
