"""One-dimensional convolutions on twelve seconds of speech.

    python examples/speech.py [FILE.wav] [--output FIGURE.png]

Sends the first second of the waveform through 16 band-pass filters, and the mel spectrogram of the whole through a
dense, a grouped and a depthwise layer. Prints what each costs beside the usual NumPy way, and draws the feature maps.
"""

from __future__ import annotations

import argparse
import logging
import sys
import timeit
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import librosa
    import numpy as np
    import soundfile
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from numpy.lib.stride_tricks import sliding_window_view

    import fastconv1d
except ImportError as error:
    print(f'speech.py: {error}. To install what it needs: pip install ".[demo]"', file=sys.stderr)
    sys.exit(2)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

RATE = 8000  # Hz
SECONDS = 12
N_FFT, HOP, MELS = 512, 256, 128
TAPS = 65  # 8 ms
BANDS_HZ = np.geomspace(150, 3500, 16)
BAND_COLOURS = colormaps["viridis"](np.linspace(0, 0.9, len(BANDS_HZ)))
SPEECH = Path(__file__).with_name("speech.wav")
SMOOTH = np.array([0.25, 0.5, 0.25])


class UserError(Exception):
    """What the person at the keyboard can mend; ends in one line and exit code 2."""


@dataclass(frozen=True)
class Step:
    """A convolution that keeps the length of x: K is odd, half of it the padding on each side."""

    name: str
    x: NDArray[np.float32]  # (1, C_in, L)
    w: NDArray[np.float32]  # (C_out, C_in/groups, K)
    padding: int | str
    groups: int = 1

    def fast(self) -> NDArray[Any]:
        return fastconv1d.conv1d(self.x, self.w, padding=self.padding, groups=self.groups)

    def plain(self) -> NDArray[Any]:
        """The usual way in NumPy: a view of all windows, and a matrix product for each group."""
        C_out, C_in_g, K = self.w.shape
        N, _, L = self.x.shape
        padded = np.pad(self.x, ((0, 0), (0, 0), (K // 2, K // 2)))
        windows = sliding_window_view(padded, K, axis=2).swapaxes(2, 3).reshape(N, self.groups, C_in_g * K, L)
        return (self.w.reshape(self.groups, -1, C_in_g * K) @ windows).reshape(N, C_out, L)


def load(path: Path) -> NDArray[np.float32]:
    """Return the first 12 seconds of a sound file, mono at 8 kHz."""
    try:
        with soundfile.SoundFile(path) as file:
            samples, _ = librosa.load(file, sr=RATE, duration=SECONDS)
    except (OSError, soundfile.SoundFileError, librosa.ParameterError) as error:
        raise UserError(f"cannot read {path}: {error}" if path.exists() else f"no such file: {path}") from error
    if not samples.size:
        raise UserError(f"{path} holds no samples")
    return samples


def mel_spectrogram(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the power in 128 mel bins in dB above the quietest, (128, frames): a zero of padding is silence."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # a file shorter than a frame is welcome
        power = librosa.feature.melspectrogram(y=samples, sr=RATE, n_mels=MELS, n_fft=N_FFT, hop_length=HOP)
    decibels = librosa.power_to_db(power, ref=np.max)
    return decibels - decibels.min()


def band_pass_filters() -> NDArray[np.float32]:
    """Return 16 Gabor filters of gain 1, (16, 1, 65): cosines under a Gaussian that is shorter for higher bands."""
    t = (np.arange(TAPS) - TAPS // 2) / RATE
    width = np.clip(1.2 / BANDS_HZ, 0.0006, t[-1] / 2)[:, None]  # seconds; the longest still fits into the taps
    envelope = np.exp(-0.5 * (t / width) ** 2)
    filters = 2 * envelope * np.cos(2 * np.pi * BANDS_HZ[:, None] * t) / envelope.sum(axis=1, keepdims=True)
    return filters[:, None].astype(np.float32)


def band_contrast(groups: int) -> NDArray[np.float32]:
    """Return weights (32, 128/groups, 3): bands of 4 mel bins over 3 frames, each against the mean of its group."""
    bins = MELS // groups
    bands = np.kron(np.eye(bins // 4), np.full(4, 1 / 4)) - 1 / bins
    return np.tile(bands[:, :, None] * SMOOTH, (groups, 1, 1)).astype(np.float32)


def change_in_time() -> NDArray[np.float32]:
    """Return weights (128, 1, 3): in each mel bin by itself, the next frame against the one before."""
    return np.tile(np.array([-0.5, 0, 0.5], np.float32), (MELS, 1, 1))


def make_steps(samples: NDArray[np.float32], mel: NDArray[np.float32]) -> list[Step]:
    return [
        Step("waveform, 16 filters", samples[None, None, :RATE], band_pass_filters(), padding="same"),
        Step("mel, 128 -> 32", mel[None], band_contrast(groups=1), padding=1),
        Step("mel, 128 -> 32, groups=4", mel[None], band_contrast(groups=4), padding=1, groups=4),
        Step("mel, depthwise 128", mel[None], change_in_time(), padding=1, groups=MELS),
    ]


def microseconds(function: Any) -> float:
    return min(timeit.repeat(function, number=5, repeat=20)) / 5 * 1e6


def run(step: Step) -> NDArray[Any]:
    """Return the result (C_out, L) of a step, after printing its line of the table."""
    y = step.fast()
    np.testing.assert_allclose(y, step.plain(), rtol=0, atol=1e-4 * np.abs(y).max())
    fast, plain = microseconds(step.fast), microseconds(step.plain)
    algorithm = fastconv1d.explain(step.x, step.w, padding=step.padding, groups=step.groups).algorithm
    print(f"{step.name:26}{y.shape!s:16}{algorithm:12}{fast:>10.0f} us{plain:>10.0f} us{plain / fast:>7.1f}")
    return y[0]


def draw(samples: NDArray[np.float32], mel: NDArray[np.float32], results: list[NDArray[Any]]) -> Figure:
    figure = Figure(figsize=(13, 14), layout="constrained")
    layout = [["waveform", "waveform"], ["filters", "filtered"], ["mel", "dense"], ["depthwise", "grouped"]]
    axes = figure.subplot_mosaic(layout, height_ratios=[1, 2.4, 2, 2])
    filtered, dense, grouped, depthwise = results
    draw_waveform(axes["waveform"], samples)
    draw_filters(axes["filters"])
    draw_filtered(axes["filtered"], filtered)
    draw_map(axes["mel"], mel, "Mel spectrogram", "dB above the quietest")
    draw_map(axes["dense"], dense, "Dense, 128 to 32: each band against the mean of all", "dB")
    draw_map(axes["depthwise"], depthwise, "Depthwise, 128: each mel bin, change in time", "dB per frame")
    draw_map(axes["grouped"], grouped, "Four groups, 128 to 32: each band against its quarter", "dB")
    return figure


def draw_waveform(axes: Axes, samples: NDArray[np.float32]) -> None:
    seconds = samples.size / RATE
    axes.plot(np.arange(samples.size) / RATE, samples, linewidth=0.4, color="0.25")
    axes.axvspan(0, min(1, seconds), color="tab:orange", alpha=0.25, label="through the filters below")
    axes.legend(loc="upper right")
    axes.set(title="Waveform", xlabel="time (s)", ylabel="amplitude", xlim=(0, seconds))


def draw_filters(axes: Axes) -> None:
    gains = np.abs(np.fft.rfft(band_pass_filters()[:, 0], 1024))
    for gain, colour in zip(gains, BAND_COLOURS, strict=True):
        axes.plot(np.fft.rfftfreq(1024, 1 / RATE), gain, color=colour)
    axes.set(title=f"The 16 filters, {TAPS} taps each", xlabel="frequency (Hz)", ylabel="gain", xlim=(0, RATE / 2))


def draw_filtered(axes: Axes, filtered: NDArray[Any]) -> None:
    loudest = np.abs(filtered).max() or 1
    for band, (trace, colour) in enumerate(zip(filtered, BAND_COLOURS, strict=True)):
        axes.plot(np.arange(trace.size) / RATE, band + 1.5 * trace / loudest, linewidth=0.6, color=colour, zorder=-band)
    axes.set_yticks(range(0, len(BANDS_HZ), 3), [f"{hz:.0f}" for hz in BANDS_HZ[::3]])
    axes.set(title="The first second through each of them", xlabel="time (s)", ylabel="centre frequency (Hz)")
    axes.margins(x=0)


def draw_map(axes: Axes, rows: NDArray[Any], title: str, unit: str) -> None:
    """Draw channels over time, with red above and blue below zero if there are both; 128 channels are mel bins."""
    limit = np.percentile(np.abs(rows), 99.5) or 1
    signed = rows.min() < 0
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if signed else {"cmap": "magma"}
    extent = (0, rows.shape[1] * HOP / RATE, -0.5, len(rows) - 0.5)
    image = axes.imshow(rows, origin="lower", aspect="auto", extent=extent, interpolation="nearest", **colours)
    axes.figure.colorbar(image, ax=axes, label=unit, pad=0.01)
    axes.set(title=title, xlabel="time (s)", ylabel="output channel")
    if len(rows) == MELS:
        ticks_hz = [250, 500, 1000, 2000, 3000]
        axes.set_yticks(np.interp(ticks_hz, librosa.mel_frequencies(MELS, fmax=RATE / 2), np.arange(MELS)), ticks_hz)
        axes.set_ylabel("frequency (Hz)")


def run_all(wav: Path, output: Path) -> None:
    samples = load(wav)
    mel = mel_spectrogram(samples)
    print(f"{wav.name}: {samples.size / RATE:.1f} s at {RATE} Hz, mel spectrogram {mel.shape}")
    steps = make_steps(samples, mel)
    for step in [*steps, *steps]:  # calls that follow upon others have helpers, which are compiled too
        step.fast()
    print(f"\n{'step':26}{'output shape':16}{'algorithm':12}{'fastconv1d':>13}{'NumPy':>13}{'ratio':>7}")
    figure = draw(samples, mel, [run(step) for step in steps])
    try:
        figure.savefig(output, dpi=110)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {output}: {error}") from error
    print(f"\nBest of 20 means of 5 calls; the first, which may compile, does not count. Figure: {output}")


def main() -> None:
    parser = argparse.ArgumentParser(description="One-dimensional convolutions on twelve seconds of speech.")
    parser.add_argument("wav", nargs="?", type=Path, default=SPEECH, metavar="FILE.wav", help="default: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=Path("speech.png"), metavar="FIGURE.png", help="default: %(default)s"
    )
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("fastconv1d").setLevel(logging.INFO)  # first calls compile, and say so
    try:
        run_all(options.wav, options.output)
    except UserError as error:
        parser.exit(2, f"speech.py: {error}\n")


if __name__ == "__main__":
    main()
