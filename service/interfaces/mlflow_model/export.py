"""A bundle as an MLflow model: a folder that `mlflow.pyfunc` loads and `mlflow models serve` serves.

What makes a folder one is a description in YAML, of which JSON is a part: MLflow itself is not needed here.
"""

import json
import platform
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nearnorm import __version__
from nearnorm.models.bundle.bundle import (
    MOST_FILE_BYTES,
    Bundle,
    fsync_folder,
    rename_durably,
    write_durably,
)
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.data.records import records
from nearnorm.models.data.schema import Feature, FeatureSchema
from nearnorm.models.errors import ConfigError
from nearnorm.models.store.folder import plain_files
from nearnorm.service.inference.engine import golden_rows

MLMODEL = "MLmodel"
LOADER = "nearnorm.service.interfaces.mlflow_model.loader"
FLAVOR = "python_function"
BUNDLE = "bundle"
"""The folder within, as `nearnorm models import` takes it."""
EXAMPLE_ROWS = 3
ANSWERS = {
    "score": "double",
    "percentile": "double",
    "anomaly": "boolean",
    "prototype": "long",
    "distance": "double",
    "reconstruction_error": "double",
    "novel": "string",
    "novel_distance": "boolean",
    "error": "string",
}


def export(bundle: Bundle, folder: Path, budget: str | None = None) -> None:
    """Write a folder that is new or empty, whole or not at all. `budget` is a share such as "1% of normal".

    No record leaves with it: rows for review stay behind.

    Raises ConfigError where there is something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--mlflow {folder} is there already: name a new or empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".mlflow-", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        (temporary / BUNDLE).mkdir()
        for path in plain_files(bundle.path):
            write_durably(temporary / BUNDLE / path.name, read_plain_file(path, MOST_FILE_BYTES))
        fsync_folder(temporary / BUNDLE)
        for name, content in _descriptions(bundle, budget).items():
            write_durably(temporary / name, content.encode())
        if folder.exists():
            folder.rmdir()
        rename_durably(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _descriptions(bundle: Bundle, budget: str | None) -> dict[str, str]:
    needed = [f"nearnorm[cpu,arrow]=={__version__}", "pandas>=2.2"]  # pandas: MLflow's own frames
    python = platform.python_version()
    example = _example(bundle)
    conda = {
        "name": "nearnorm",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": needed}],
    }
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    described = {
        MLMODEL: _mlmodel(bundle, budget, python),
        "conda.yaml": conda,
        "python_env.yaml": environment,
        "input_example.json": example,
        "serving_input_example.json": {"dataframe_split": example},
    }
    texts = {name: json.dumps(content, indent=2, ensure_ascii=False) for name, content in described.items()}
    return {**texts, "requirements.txt": "\n".join(needed) + "\n"}


def _mlmodel(bundle: Bundle, budget: str | None, python: str) -> dict[str, Any]:
    schema = bundle.manifest.core.features
    outputs = [{"type": kind, "name": name, "required": False} for name, kind in ANSWERS.items()]
    return {
        "flavors": {
            FLAVOR: {
                "loader_module": LOADER,
                "data": BUNDLE,
                "config": {"budget": budget},
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "python_version": python,
            }
        },
        "model_uuid": bundle.version[:32],
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "signature": {
            "inputs": json.dumps([_column(feature) for feature in schema.scored]),
            "outputs": json.dumps(outputs),
            "params": None,
        },
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "pandas_orient": "split",
            "type": "dataframe",
            "serving_input_path": "serving_input_example.json",
        },
        "metadata": {"nearnorm_version": bundle.version, "columns": _kinds(schema)},
    }


def _column(feature: Feature) -> dict[str, Any]:
    """Any type: what fits is the bundle's to say. MLflow's own numbers are either integers, which cannot be
    missing, or floats, which a column of integers is refused for."""
    return {"type": "any", "name": feature.name, "required": not feature.nullable}


def _kinds(schema: FeatureSchema) -> dict[str, str]:
    return {feature.name: feature.kind.value for feature in schema.scored}


def _example(bundle: Bundle) -> dict[str, Any]:
    """Made-up records, which are nobody's."""
    core = bundle.manifest.core
    made = golden_rows(core.golden).part(0, EXAMPLE_ROWS)
    found = records(core.features, made.numeric, made.codes, {})
    columns = [feature.name for feature in core.features.scored]
    return {"columns": columns, "data": [[record[name] for name in columns] for record in found]}
