import csv

import pytest

from lensbench.simulation import DEMO, PHYSICAL
from lensbench.simulation.block import Block, blocks_of
from lensbench.simulation.scene import PERTURBER_COLUMNS
from lensbench.simulation.tables import rows_of, write_tables


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("population", [DEMO, PHYSICAL])
def test_tables_agree_with_the_scenes(tmp_path, population):
    blocks = [
        Block(partition, label, (1, 2, 5))
        for partition in ("train", "val")
        for label in ("no", "sphere", "vort")
    ]
    images, perturbers = tmp_path / "images.csv", tmp_path / "perturbers.csv"
    write_tables(images, perturbers, (rows_of(population, 4, block) for block in blocks))
    assert {path.name for path in tmp_path.iterdir()} == {"images.csv", "perturbers.csv"}

    rows, small = read(images), read(perturbers)
    assert list(small[0]) == ["id", *PERTURBER_COLUMNS]
    assert [row["id"] for row in rows] == [name for block in blocks for name in block.ids]
    scenes = [scene for block in blocks for scene in block.scenes(population, 4)]
    labels = [block.label for block in blocks for _ in block.numbers]
    for row, label, scene in zip(rows, labels, scenes, strict=True):
        assert row.pop("label") == label
        name = row.pop("id")
        # Every digit of what an image follows from.
        assert {key: float(value) for key, value in row.items()} == pytest.approx(
            scene.row(), rel=0, abs=0, nan_ok=True
        )
        of_scene = [part for part in small if part["id"] == name]
        assert len(of_scene) == int(row["n_perturbers"])
        columns = vars(scene.perturbers)
        for number, part in enumerate(of_scene):
            for key in PERTURBER_COLUMNS:
                if key in columns:
                    assert float(part[key]) == pytest.approx(columns[key][number], rel=1e-6)
                else:
                    assert part[key] == ""
        total = sum(float(part["mass_solar"]) for part in of_scene)
        assert total == pytest.approx(float(row["perturber_mass_solar"]), rel=1e-6)


def test_tables_without_substructure_have_a_header(tmp_path):
    block = Block("train", "no", (1,))
    write_tables(tmp_path / "a.csv", tmp_path / "b.csv", [rows_of(DEMO, 0, block)])
    assert len(read(tmp_path / "a.csv")) == 1
    assert (tmp_path / "b.csv").read_text().strip() == ",".join(("id", *PERTURBER_COLUMNS))


def test_tables_appear_whole_or_not_at_all(tmp_path):
    def rows():
        yield rows_of(DEMO, 0, Block("train", "vort", (1,)))
        raise KeyboardInterrupt

    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_tables(tmp_path / "a.csv", tmp_path / "b.csv", rows())
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "a.csv": "before",
        "b.csv": "before",
    }


def test_blocks_hold_every_image_once():
    n_images = {
        "train": {"no": 120, "sphere": 0, "vort": 50},
        "val": {"no": 1, "sphere": 51, "vort": 0},
    }
    blocks = blocks_of(n_images)
    names = [name for block in blocks for name in block.ids]
    expected = [
        f"{partition}/{label}/{number}.npy"
        for partition, of in n_images.items()
        for label, n in of.items()
        for number in range(1, n + 1)
    ]
    assert names == expected
    assert [len(block.numbers) for block in blocks] == [50, 50, 20, 50, 1, 50, 1]
