"""`nearnorm train` as a user types it, in a process of its own."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.models.errors import DataError
from nearnorm.training import job
from nearnorm.training.commands import ProgressStyle, train
from tests.training.conftest import PAYMENTS

QUICK = '[fit]\nrepresentation_epochs = 1\njoint_epochs = 2\nmembers = 2\n[schema.hour]\nkind = "ignored"\n'
NEARNORM = str(Path(sys.executable).with_name("nearnorm"))


def nearnorm(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [NEARNORM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "quick.toml"
    path.write_text(QUICK)
    return path


def test_training_shows_the_schema_names_its_warnings_and_ends_with_the_version(
    config: Path, tmp_path: Path
) -> None:
    done = nearnorm("train", PAYMENTS, "--out", tmp_path / "model", "--config", config, "--seed", 3)
    assert done.returncode == 0, done.stderr
    bundle = read_bundle(tmp_path / "model")
    assert done.stdout == f"{tmp_path / 'model'}: version {bundle.version}\n"
    assert bundle.manifest.core.seed == 3
    assert "merchant         categorical  14 categories" in done.stderr
    assert "warning: column 'payment_id' is left out" in done.stderr
    assert "hour             ignored      left out by the configuration" in done.stderr


def test_progress_as_json_is_one_object_a_line_and_the_last_names_the_version(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(PAYMENTS, tmp_path / "m", config=config, progress=ProgressStyle.JSON)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0] == {"stage": "read", "progress": 0.0}
    version = read_bundle(tmp_path / "m").version
    assert events[-1] == {
        "stage": "done",
        "progress": 1.0,
        "bundle": str(tmp_path / "m"),
        "version": version,
    }
    assert [e["warning"].split("'")[1] for e in events if "warning" in e] == [
        "payment_id",
        "created_at",
        "currency",
    ]


ROWS = "".join(f"{i / 7:.3f},{'ab'[i % 2]},\n" for i in range(30))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x01\x02", "data.csv cannot be read as csv"),
        (b"", "data.csv is empty"),
        (b"label\n1\n\n", "has one column"),
        (b"x,s\n1,a\n", "has no column 'label' (it has x, s): give --label-column"),
        (f"x,s,label\n{ROWS}1,a,2\n".encode(), "row 31 holds 2"),
        (b"x,s,label\n1,a,1\n2,b,1\n", "none of 2 rows is unlabelled"),
        (f"x,s,label\n{ROWS}high,a,\n".encode(), "column 'x' changes its type: row 31 holds 'high'"),
        (f"x,s,label\n{ROWS}inf,a,\n".encode(), "column 'x', row 31: a finite number was expected"),
        (b"x,s,label\n1,a,\n2,b\n", "data.csv cannot be read as csv"),
        (None, "data.csv does not exist"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_two(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "data.csv").write_bytes(content)
    done = nearnorm("train", tmp_path / "data.csv", "--out", tmp_path / "model", "--progress", "off")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "model").exists()


def test_an_unknown_key_of_the_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "fit.toml").write_text("[fit]\nspeed = 9\n")
    done = nearnorm("train", PAYMENTS, "--out", tmp_path / "m", "--config", tmp_path / "fit.toml")
    assert done.returncode == 2
    assert "unknown key 'fit.speed'" in done.stderr


def test_help_needs_no_torch() -> None:
    script = (
        "import sys; from nearnorm.service.cli.main import main; sys.argv = ['nearnorm', 'train', '--help']\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, 'pyarrow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "--label-column" in done.stdout
    assert done.stdout.strip().endswith("False False")


def test_inspect_shows_columns_and_writes_a_schema_that_train_takes(config: Path, tmp_path: Path) -> None:
    schema, fit = tmp_path / "schema.toml", tmp_path / "fit.toml"
    done = nearnorm("inspect", PAYMENTS, "--write", schema)
    assert done.returncode == 0, done.stderr
    assert "merchant         categorical  14 categories" in done.stdout
    assert "warning: column 'payment_id' is left out" in done.stderr
    fit.write_text(QUICK.partition("[schema")[0])
    schema.write_text(schema.read_text().replace("[schema.hour]", "[schema.hour]\nnullable = false", 1))
    done = nearnorm(
        "train",
        PAYMENTS,
        "--out",
        tmp_path / "model",
        "--config",
        fit,
        "--schema",
        schema,
        "--progress",
        "off",
    )
    assert done.returncode == 0, done.stderr
    features = {f.name: f for f in read_bundle(tmp_path / "model").manifest.core.features.features}
    assert features["hour"].nullable is False
    assert features["merchant"].nullable is True


def test_a_command_that_needs_no_ledger_does_not_load_it() -> None:
    script = (
        "import sys\n"
        "from nearnorm.service.cli.main import cli\n"
        "try:\n"
        "    cli(['train', '--help'])\n"
        "except SystemExit:\n"
        "    print('sqlalchemy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_garbage_is_looked_for_less_often_while_a_model_is_trained_and_as_before_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, during = gc.get_threshold(), []

    def refuse(*_: object) -> None:
        during.append(gc.get_threshold())
        raise DataError("not this one")

    monkeypatch.setattr(job, "prepare", refuse)
    with pytest.raises(DataError, match="not this one"):
        train("rows.csv", tmp_path / "bundle", progress=ProgressStyle.OFF)
    assert during[0][0] > before[0]
    assert gc.get_threshold() == before
