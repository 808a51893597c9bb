import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lensbench.figures import draw_confusion_matrix


def test_each_cell_shows_count_and_share_of_its_row():
    ax = draw_confusion_matrix([[1200, 50], [0, 10]], ("lens", "not a lens"), "A title")
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells == {
        (0, 0): "1,200\n96.0%",
        (1, 0): "50\n4.0%",
        (0, 1): "0\n0.0%",
        (1, 1): "10\n100.0%",
    }
    assert [label.get_text() for label in ax.get_yticklabels()] == ["lens", "not a lens"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["lens", "not a lens"]
    assert ax.figure.get_suptitle() == "A title"


def test_a_class_without_examples_has_no_shares():
    ax = draw_confusion_matrix([[3, 1], [0, 0]], ("a", "b"))
    assert [text.get_text() for text in ax.texts][2:] == ["0\n-", "0\n-"]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0])
def test_text_stands_out_from_its_cell(share):
    n = round(100 * share)
    ax = draw_confusion_matrix([[n, 100 - n], [0, 100]], ("a", "b"))
    (image,) = ax.images
    cell = image.cmap(image.norm(image.get_array()[0, 0]))[:3]
    assert _contrast(ax.texts[0].get_color(), cell) > 4.5  # WCAG AA


def _contrast(one, other):
    lights = []
    for colour in (one, other):
        rgb = np.asarray(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lights.append(linear @ (0.2126, 0.7152, 0.0722))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_any_number_of_classes_fits_its_cells(k):
    names = [f"a rather long class name {i}" for i in range(k)]
    ax = draw_confusion_matrix(np.full((k, k), 1234), names)
    ax.figure.draw_without_rendering()
    cell = ax.bbox.width / k
    assert all(text.get_window_extent().width < cell for text in ax.texts)
    page = ax.figure.bbox
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        box = label.get_window_extent()
        assert page.x0 <= box.x0
        assert page.y0 <= box.y0


@pytest.mark.parametrize("k", [1, 2, 3, 10])
@pytest.mark.parametrize("name", ["no", "halo & vortex mix", "a spiral, not a lens"])
def test_titles_lie_on_the_page_whatever_the_names_of_classes(k, name):
    title = "EfficientNet-B0_WITH_A_NAME_OF_CAPITALS\nConfusion matrix, 37,500 test images"
    figure = draw_confusion_matrix(np.full((k, k), 1234), [name] * k, title).figure
    figure.draw_without_rendering()
    (found,) = figure.findobj(lambda one: "test images" in getattr(one, "get_text", str)())
    box, page = found.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 < box.x1 <= page.x1
    assert page.y0 <= box.y0 < box.y1 <= page.y1


def test_a_matrix_of_another_size_is_refused():
    with pytest.raises(ValueError, match="3 classes need a 3 x 3 matrix"):
        draw_confusion_matrix([[1, 0], [0, 1]], ("a", "b", "c"))


def test_it_draws_where_it_is_told():
    ax = Figure().add_subplot()
    assert draw_confusion_matrix([[1]], ("a",), "A title", ax=ax) is ax
    assert ax.get_title(loc="left") == "A title"
