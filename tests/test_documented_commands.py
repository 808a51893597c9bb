"""The commands that the documentation shows: the command line takes them and their models."""

import functools
import re
import shlex
from pathlib import Path

import pytest
import tyro

from lensbench import cli
from lensbench.choices import choose_models
from lensbench.zoo.names import resolve

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "task1/README.md", *sorted((ROOT / "docs").glob("*.md")))


def shown(page: Path) -> list[str]:
    """The commands in the blocks of a page, each once."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M)
    return re.findall(r"^(?:srun )?lensbench (.*)$", "\n".join(blocks), re.M)


COMMANDS = sorted({command for page in PAGES for command in shown(page)})


def test_there_are_some():
    assert {command.split()[0] for command in COMMANDS} >= {"run", "train", "simulate", "evaluate"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_is_one(command):
    def only_parsed(verb):
        return functools.wraps(verb)(lambda *given, **named: (given, named))

    verbs = {name: only_parsed(verb) for name, verb in cli.VERBS.items()}
    words = shlex.split(command, comments=True)
    _, settings = tyro.extras.subcommand_cli_from_dict(verbs, args=words)
    if named := settings.get("models") or settings.get("model"):
        for row in choose_models(named, with_batch_sizes=False):
            resolve(row.identifier)
