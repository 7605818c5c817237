"""The state colours can be told apart by everybody: measured, because looking at them is not enough.

CIE76 distances for normal sight and for the three dichromacies simulated with the severity-1.0 matrices of
G. M. Machado, M. M. Oliveira and L. A. F. Fernandes, IEEE TVCG 15 (2009), 1291-1298; contrast as WCAG 2.2.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from watchdog.api.dashboard.frame import FILES
from watchdog.api.dashboard.words import STATES

TONES = ("regressed", "suspect", "healthy", "inconclusive", "blind", "observing")
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def palettes() -> dict[str, dict[str, str]]:
    """The custom properties of the style sheet, light and dark."""
    css = FILES["watchdog.css"].decode()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    found = {
        name: dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block))
        for name, block in (("light", light), ("dark", dark))
    }
    return {"light": found["light"], "dark": {**found["light"], **found["dark"]}}


def linear(colour: str) -> np.ndarray:
    """sRGB hex to linear light, 0 to 1."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear sRGB."""
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    scaled = to_xyz @ light / np.array([0.95047, 1.0, 1.08883])
    f = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    luminance = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(c)) for c in (one, other))
    return (luminance[1] + 0.05) / (luminance[0] + 0.05)


@pytest.mark.parametrize(("theme", "least"), [("light", 19.0), ("dark", 26.0)])
@pytest.mark.parametrize("sight", sorted(SIGHT))
def test_every_two_states_differ_in_colour_for_every_sight(theme: str, least: float, sight: str) -> None:
    colours = palettes()[theme]
    seen = {tone: lab(np.clip(SIGHT[sight] @ linear(colours[tone]), 0.0, 1.0)) for tone in TONES}
    for one, other in itertools.combinations(TONES, 2):
        distance = float(np.linalg.norm(seen[one] - seen[other]))
        assert distance >= least, f"{one} and {other} are {distance:.1f} apart"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("tone", [*TONES, "ink", "dim", "link"])
def test_text_in_every_colour_can_be_read(theme: str, tone: str) -> None:
    colours = palettes()[theme]
    assert contrast(colours[tone], colours["paper"]) >= 4.5
    assert contrast(colours[tone], colours["raised"]) >= 4.5


def test_every_state_has_a_tone_with_a_shape_of_its_own() -> None:
    from watchdog.api.dashboard.words import _SHAPES

    assert {sign.tone for sign in STATES.values()} <= set(_SHAPES)
    assert len({character for character, _ in _SHAPES.values()}) == len(_SHAPES)
    assert len({outline for _, outline in _SHAPES.values()}) == len(_SHAPES)


def test_the_distance_is_the_one_of_the_paper() -> None:
    # White against black is exactly 100 in CIE76.
    assert np.linalg.norm(lab(linear("#ffffff")) - lab(linear("#000000"))) == pytest.approx(100.0, abs=0.01)
    assert contrast("#ffffff", "#000000") == pytest.approx(21.0)
