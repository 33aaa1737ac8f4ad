"""Medians, ratios, and the table that is printed."""

import statistics


class Row:
    """One line: what was measured, against what, and whether the bar was met."""

    def __init__(self, what, ours, against="", theirs=None, unit="ms", bar="", ratio=None, met=None):
        self.what, self.against, self.unit, self.bar = what, against, unit, bar
        self.ours, self.theirs, self.ratio, self.met = ours, theirs, ratio, met

    @staticmethod
    def compare(what, ours, against, theirs, most, unit="ms", aim=None):
        """A row from two lists of samples; the bar is a ratio of their medians, `most` (and perhaps an `aim`)."""
        mine, other = statistics.median(ours), statistics.median(theirs)
        ratio = mine / other
        bar = f"≤ {most}×" + (f", {aim[0]}" if aim else "")
        return Row(what, spread(ours), against, spread(theirs), unit, bar, ratio, ratio <= most and (not aim or aim[1]))

    def cells(self):
        verdict = "" if self.met is None else "met" if self.met else "**missed**"
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}×"
        unit = f" {self.unit}" if self.unit else ""
        return [
            self.what,
            f"{self.ours}{unit}",
            self.against,
            "" if self.theirs is None else f"{self.theirs}{unit}",
            ratio,
            self.bar,
            verdict,
        ]


def spread(samples):
    """A median with its quartiles."""
    if len(samples) < 4:
        return number(statistics.median(samples))
    low, _, high = statistics.quantiles(samples, n=4)
    return f"{number(statistics.median(samples))} ({number(low)}–{number(high)})"


def number(value):
    """Three digits that mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def markdown(rows):
    """The table."""
    head = ["what", "Hostel", "against", "there", "ratio", "bar", ""]
    lines = [head, ["---", "--:", "---", "--:", "--:", "---", "---"], *[row.cells() for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
