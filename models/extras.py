"""Which extra of the package brings a module that is not installed."""

from nearnorm.models.errors import ConfigError

_EXTRA_OF = {
    "aiokafka": "kafka",
    "cryptography": "signatures",
    "matplotlib": "training",
    "obstore": "s3",
    "mlflow": "mlflow",
    "onnx": "training",
    "onnxruntime": "cpu",
    "opentelemetry": "otel",
    "psycopg": "postgres",
    "pyarrow": "arrow",
    "ray": "ray",
    "sklearn": "training",
    "threadpoolctl": "training",
    "torch": "training",
}


def missing_extra(error: ModuleNotFoundError, command: str) -> ConfigError | None:
    """The sentence for the user of a command; None where the module belongs to no extra."""
    module = (error.name or "").split(".")[0]
    extra = _EXTRA_OF.get(module)
    if module == "pyarrow" and command != "score":
        extra = "training"  # which has it too, and what else it needs
    if extra is None:
        return None
    return ConfigError(
        f"`nearnorm {command}` needs the module {module}, which is not installed: install the extra {extra}, "
        f"as in `pip install 'nearnorm[{extra}]'`"
    )
