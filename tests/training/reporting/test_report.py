import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nearnorm.models.bundle.bundle import Bundle
from tests.training.conftest import train


def html(bundle: Bundle) -> str:
    return (bundle.path / "report.html").read_text(encoding="utf-8")


def test_the_page_fetches_nothing(bundle: Bundle) -> None:
    page = html(bundle)
    assert not re.search(r"<(script|link|iframe)\b", page)
    sources = re.findall(r"""(?:\b(?:src|href)\s*=\s*["']|url\(\s*["']?)([^"')\s>]+)""", page)
    assert sources
    assert all(source.startswith(("#", "data:")) for source in sources)


def test_the_page_has_every_plot_and_every_group(bundle: Bundle) -> None:
    page = html(bundle)
    assert page.count("<svg") == 4
    for prototype in range(bundle.manifest.core.prototypes):
        assert f"<h3>Group {prototype}<span>" in page
    for title in ("The kinds of normal it knows", "How training went", "What each normal group looks like"):
        assert title in page
    assert "column &#x27;currency&#x27; is left out: constant" in page


def test_logarithmic_axes_tell_shares_in_percent_and_rows_as_numbers(bundle: Bundle) -> None:
    page = html(bundle)
    for told in ("1%", "10%", "100%", "10", "100"):
        assert f">{told}</text>" in page
    assert "mathdefault" not in page


def test_names_and_categories_of_the_data_cannot_become_markup(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bad = "<script>alert(1)</script>"
    columns = {bad: rng.normal(size=200), "s": rng.choice([bad, "b"], 200), "label": [None] * 200}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    page = html(train(tmp_path / "out", str(tmp_path / "a.parquet")))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


class Balance(HTMLParser):
    """Counts elements that are open; the few that never close are left out."""

    open = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open += tag not in ("meta", "br")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """`<path/>` opens and closes."""

    def handle_endtag(self, tag: str) -> None:
        self.open -= 1


def test_the_page_is_balanced(bundle: Bundle) -> None:
    balance = Balance()
    balance.feed(html(bundle))
    assert balance.open == 0


def test_the_json_has_the_figures_and_how_they_were_measured(bundle: Bundle) -> None:
    report = json.loads((bundle.path / "report.json").read_bytes())
    assert report["version"] == bundle.version
    assert report["fit_seconds"] == bundle.manifest.fit_seconds
    assert report["metrics"] == bundle.manifest.core.metrics
    assert report["measured"].startswith("Cross-fitting: 20 labelled anomalies")
    assert list(report["seconds"]) == ["read", "fit", "evaluate", "export", "report"]
    assert len(report["warnings"]) == 3
    assert report["headline"] in html(bundle)
    assert report["headline"].startswith(
        "Of anomalies like the 20 labelled ones half are among the strangest"
    )
    assert report["choices"]
