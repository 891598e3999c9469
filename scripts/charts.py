"""Draws docs/turns.svg and docs/load.svg from docs/measured/. Run it by scripts/charts.

The background is transparent, and all colours can be read on white and on black. With --png it
draws the same as PNG, to be looked at: once on white and once on black.
"""

import csv
import io
import os
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")
INK, OURS, BARE, AGAIN = "#7a838d", "#3b8be0", "#e0812f", "#9aa3ad"
LABELS = {"ours": "turnchat", "bare": "bare TLS", "bare again": "bare TLS, again"}
COLOURS = {"ours": OURS, "bare": BARE, "bare again": AGAIN}
MICROS = {"ns": 1e-3, "µs": 1.0, "ms": 1e3, "s": 1e6}

plt.rcParams.update(
    {
        "svg.fonttype": "none",
        # The same file each time.
        "svg.hashsalt": "turnchat",
        "font.family": ["DejaVu Sans", "sans-serif"],
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": INK,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "lines.linewidth": 2,
        "lines.markersize": 6,
    }
)


def turns():
    """The rows of the bench's table: size, times of both in µs, both ratios and their quartiles."""
    row = re.compile(
        r"\| turn and reply, (.+?) \| ([\d.]+)(ns|µs|ms|s) \| ([\d.]+)(ns|µs|ms|s)"
        r" \| ([\d.]+) \(([\d.]+)–([\d.]+)\) \| ([\d.]+) \(([\d.]+)–([\d.]+)\) \|"
    )
    with open(os.path.join(DOCS, "measured", "turns.md"), encoding="utf-8") as file:
        for size, ours, unit, bare, of, *ratios in row.findall(file.read()):
            times = float(ours) * MICROS[unit], float(bare) * MICROS[of]
            ratio = [float(figure) for figure in ratios]
            yield size, times, ratio[:3], ratio[3:]


def draw_turns():
    rows = list(turns())
    places, sizes = range(len(rows)), [row[0] for row in rows]
    figure, (times, ratios) = plt.subplots(1, 2, figsize=(9, 3.4))
    for name, at in (("ours", 0), ("bare", 1)):
        times.plot(places, [row[1][at] for row in rows], "o-", color=COLOURS[name], label=LABELS[name])
    times.set_yscale("log")
    times.set_yticks([10, 20, 50, 100, 200])
    times.yaxis.set_major_formatter("{x:g}")
    times.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    times.set_title("A turn and its reply, µs (log scale)", loc="left")
    for name, at, shift in (("ours", 2, -0.06), ("bare again", 3, 0.06)):
        median, low, high = zip(*(row[at] for row in rows))
        error = [[m - l for m, l in zip(median, low)], [h - m for m, h in zip(median, high)]]
        label = f"{LABELS[name]} ÷ bare TLS"
        ratios.errorbar(
            [place + shift for place in places], median, yerr=error, fmt="o", color=COLOURS[name],
            capsize=3, label=label,
        )
        if name == "ours":
            for place, value in zip(places, median):
                ratios.annotate(
                    f"{value:.2f}", (place + shift, value), xytext=(-8, 0), color=OURS,
                    textcoords="offset points", va="center", ha="right",
                )
    ratios.axhline(1, color=BARE, linewidth=1)
    top = max(row[2][2] for row in rows)
    ratios.set_ylim(0, 1.15 * max(top, 1))
    ratios.set_title("How many times the limit, with quartiles", loc="left")
    ratios.legend(loc="lower left")
    times.legend(loc="upper left")
    for axes in (times, ratios):
        axes.set_xlim(-0.7, len(rows) - 0.5)
        axes.set_xticks(places, sizes)
        axes.set_xlabel("size of a message")
        axes.grid(axis="y")
    return figure


def draw_load():
    with open(os.path.join(DOCS, "measured", "load.csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    panels = (
        ("memory_kib", "Memory of each, KiB"),
        ("turn_cpu_us", "CPU of a turn and its reply, µs"),
        ("idle_cpu_us_a_second", "CPU of each in an idle second, µs"),
    )
    figure, all_axes = plt.subplots(1, len(panels), figsize=(9, 3.2))
    for axes, (column, title) in zip(all_axes, panels):
        top = 0
        for name in ("bare again", "bare", "ours"):
            of = [row for row in rows if row["contender"] == name]
            counts = [int(row["conversations"]) for row in of]
            values = [float(row[column]) for row in of]
            style = "o--" if name == "bare again" else "o-"
            axes.plot(counts, values, style, color=COLOURS[name], label=LABELS[name])
            top = max(top, *values)
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        axes.margins(x=0.12)
        axes.set_ylim(0, 1.12 * top)
        axes.set_title(title, loc="left")
        axes.grid(axis="y")
    all_axes[1].set_xlabel("open conversations, both ends together (log scale)")
    handles, labels = all_axes[0].get_legend_handles_labels()
    all_axes[0].legend(handles[::-1], labels[::-1], loc="lower right")
    return figure


def main():
    for name, draw in (("turns", draw_turns), ("load", draw_load)):
        figure = draw()
        figure.tight_layout()
        path = os.path.join(DOCS, name + ".svg")
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
        with open(path, "w", encoding="utf-8") as file:
            # Nothing but the picture.
            file.write(re.sub(r"\n *<metadata>.*?</metadata>", "", drawn.getvalue(), flags=re.DOTALL))
        print(path)
        if "--png" in sys.argv:
            for theme in ("white", "black"):
                path = os.path.join(DOCS, "..", "target", f"{name}-{theme}.png")
                figure.savefig(path, dpi=130, facecolor=theme)
                for axes in figure.axes:
                    axes.set_facecolor("none")
                print(path)


main()
