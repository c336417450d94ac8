"""The dashboard's shape: what Grafana would need and what its reader would."""

from tests.deploy.expressions import dashboard, of_dashboard, of_rules, panels, rules


def test_panels_have_their_own_ids_and_places() -> None:
    everything = dashboard()["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_has_a_unit_and_a_source() -> None:
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["datasource"]["uid"] == "prometheus" for target in panel["targets"])


def test_every_recorded_series_is_used() -> None:
    used = " ".join(of_dashboard() + of_rules())
    assert [rule["record"] for rule in rules() if "record" in rule and rule["record"] not in used] == []
