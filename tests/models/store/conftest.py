"""An S3 API for the store's tests."""

from tests.models.store.s3_server import endpoint as endpoint
from tests.models.store.s3_server import s3 as s3
