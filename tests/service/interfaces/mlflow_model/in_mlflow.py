"""Run by MLflow's own Python: load an exported model, predict frames, register it, import it by its alias.

python in_mlflow.py MODEL RECORDS: the records are JSON; writes what it found as JSON.
"""

import json
import sys
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from mlflow import MlflowClient

from nearnorm.__main__ import main


def rows(found: Any) -> Any:
    return json.loads(found.to_json(orient="records"))


def imported(uri: str) -> int | str | None:
    """What `nearnorm models import` exits with."""
    sys.argv = ["nearnorm", "models", "import", uri]
    try:
        main()
    except SystemExit as end:
        return end.code
    return None


def registered(folder: str) -> None:
    with mlflow.start_run() as run:
        mlflow.log_artifacts(folder, "model")
    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", "payments").version
    MlflowClient().set_registered_model_alias("payments", "champion", version)


def described(folder: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    model = mlflow.pyfunc.load_model(folder)
    frame = pd.DataFrame(records)
    whole = frame.assign(epoch=np.arange(len(frame)))  # integers, none of them missing
    stricter = mlflow.pyfunc.load_model(folder, model_config={"budget": "10% of normal"})
    return {
        "inputs": [[column.name, column.required] for column in model.metadata.signature.inputs],
        "example": len(model.predict(model.input_example)),
        "types": {name: str(kind) for name, kind in frame.dtypes.items()},
        "scored": rows(model.predict(frame)),
        "by 10%": rows(stricter.predict(frame)),
        "whole numbers": rows(model.predict(whole)),
        "version": model.metadata.metadata["nearnorm_version"],
    }


if __name__ == "__main__":
    found = described(sys.argv[1], json.loads(sys.argv[2]))
    registered(sys.argv[1])
    found["exits"] = [imported("models:/payments@champion"), imported("models:/payments@nobody")]
    print("\n" + json.dumps(found))
