from dataclasses import replace

from rich.console import Console

from lensbench.reporting.terminal import ranking_table

from .builders import make_comparison, make_record


def lines_of(comparison) -> list[str]:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(ranking_table(comparison))
    return capture.get().splitlines()


def test_the_ranking_fits_80_columns_with_the_longest_names_of_the_contract(tmp_path):
    names = ("MobileNetV3-Small", "ConvNeXtV2-Atto", "ResNet18")
    records = [make_record(name, 0.9 + i / 100) for i, name in enumerate(names)]
    slow = records[0].model_copy(update={"training_time_s": 60 * 1125.7})
    lines = lines_of(make_comparison(tmp_path, slow, *records[1:]))
    row = next(line for line in lines if "MobileNetV3-Small" in line)
    cells = [cell.strip() for cell in row.split("│")]
    bounds = ["0.9000 0.8900-0.9100", "0.9000 0.8700-0.9300"]
    assert cells == ["b", "MobileNetV3-Small", *bounds, "1125.7"]
    assert max(map(len, lines)) <= 80


def test_a_value_close_to_1_lies_in_the_interval_beside_it(comparison):
    best = comparison.entries[0]
    auc = best.auc.model_copy(update={"value": 0.99993, "low": 0.99952, "high": 0.99996})
    near, nearer = (
        "\n".join(lines_of(replace(comparison, entries=(replace(best, auc=one),))))
        for one in (auc, auc.model_copy(update={"value": 0.999957, "high": 0.999981}))
    )
    assert "0.9999 0.9995-1.0000" in near
    assert "0.99996 0.99952-0.99998" in nearer


def test_the_level_is_the_one_that_was_asked_for(comparison):
    best = comparison.entries[0]
    auc = best.auc.model_copy(update={"level": 0.9973})
    text = "\n".join(lines_of(replace(comparison, entries=(replace(best, auc=auc),))))
    assert "macro AUC (99.73%)" in text
    assert "accuracy (99.73%)" in text


def test_the_verdict_tells_of_different_numbers_of_training_images(tmp_path):
    whole, part = make_record("whole", 0.95), make_record("part", 0.9)
    ours = part.lensbench
    few = ours.model_copy(update={"split": ours.split.model_copy(update={"n_train": 750})})
    said = "They were trained on 750 to 3,000 images."
    both = make_comparison(tmp_path, whole, part.model_copy(update={"lensbench": few}))
    assert both.verdict.endswith(said)
    assert "trained on" not in make_comparison(tmp_path / "equal", whole, part).verdict
