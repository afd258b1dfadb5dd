"""A series as a small power station might log it, by the hour: a day, a week, a year, weather, a trend, and a gap.

python experiments/series/make_series.py <file.csv>
"""

import csv
import datetime
import sys

import numpy as np

HOURS, GAP = 24 * 180, range(24 * 60, 24 * 60 + 30)


def main(file: str) -> None:
    """Write the columns time, temperature (degrees Celsius) and load (kW)."""
    random = np.random.RandomState(0)
    hour = np.arange(HOURS)
    weather = np.zeros(HOURS)  # what persists for some days
    for i in range(1, HOURS):
        weather[i] = 0.985 * weather[i - 1] + random.normal(0, 0.5)
    season = -9 * np.cos(2 * np.pi * (hour / 24 + 20) / 365)
    temperature = 11 + season + 4 * np.sin(2 * np.pi * (hour - 9) / 24) + weather + random.normal(0, 0.3, HOURS)
    day = 60 * np.sin(2 * np.pi * (hour - 7) / 24) + 25 * np.sin(4 * np.pi * (hour - 7) / 24)
    weekend = np.where(hour // 24 % 7 >= 5, -45, 0)
    load = 420 + 0.01 * hour + day + weekend + 4 * np.abs(temperature - 16) + random.normal(0, 6, HOURS)
    start = datetime.datetime(2026, 1, 1)
    with open(file, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["time", "temperature", "load"])
        for i in range(HOURS):
            measured = "" if i in GAP else f"{load[i]:.1f}"  # the meter was being replaced
            writer.writerow([start + datetime.timedelta(hours=i), f"{temperature[i]:.2f}", measured])


if __name__ == "__main__":
    main(sys.argv[1])
