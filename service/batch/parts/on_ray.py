"""Parts scored on a Ray cluster (extra ray): Ray Data over a pool of actors, each with its own session."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nearnorm.models.engines.ray_cluster import ray_cluster
from nearnorm.models.errors import ConfigError
from nearnorm.service.batch.parts.plan import OutputPart
from nearnorm.service.batch.parts.work import PartResult, PartScorer
from nearnorm.service.inference.engine import Device, has_cuda

MOST_BLOCKS = 1_000
"""Into which parts are divided: what a node that is lost has to do again."""


class RayEngine(Struct, frozen=True):
    """`address`: of a cluster that runs; None starts one on this machine, for as long as it takes.
    `workers`: at most so many actors; None: as many as the cluster has CPUs, or GPUs where actors have those.
    """

    address: str | None = None
    workers: int | None = None

    def __call__(self, work: PartScorer, parts: Sequence[OutputPart]) -> Iterator[PartResult]:
        """Results as they come. Raises ConfigError without a cluster, NearnormError where it fails."""
        if not parts:
            return
        with ray_cluster(self.address, self.workers, "run it again, which goes on with the rest") as ray:
            _quieten_ray_data()
            pool = actors(ray.cluster_resources(), work.score.device, self.workers)
            one = replace(work, score=replace(work.score, threads=1))
            found = (
                ray.data.from_items(
                    [{"part": msgspec.json.encode(part)} for part in parts],
                    override_num_blocks=min(len(parts), MOST_BLOCKS),
                )
                .map_batches(
                    _Actor,
                    fn_constructor_args=(one,),
                    batch_size=1,
                    compute=ray.data.ActorPoolStrategy(
                        min_size=1, max_size=pool.size, initial_size=pool.size
                    ),
                    **pool.each,
                )
                .iter_rows()
            )
            for row in found:
                yield msgspec.json.decode(row["result"], type=PartResult)


def _quieten_ray_data() -> None:
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


class Pool(Struct, frozen=True):
    """How many actors, and what each of them takes of the cluster."""

    size: int
    each: dict[str, float]


def actors(cluster: Mapping[str, float], device: Device, most: int | None) -> Pool:
    """GPU actors where there is CUDA for them, else one a CPU. Raises ConfigError where no GPU is."""
    gpus = int(cluster.get("GPU", 0))
    if device == "cuda" and not gpus:
        raise ConfigError("NEARNORM_DEVICE=cuda, but no node of the Ray cluster has a GPU")
    on_gpus = gpus > 0 and (device == "cuda" or (device == "auto" and has_cuda()))
    size = gpus if on_gpus else int(cluster.get("CPU", 1))
    each: dict[str, float] = {"num_gpus": 1} if on_gpus else {"num_cpus": 1}
    return Pool(max(min(size, most or size), 1), each)


class _Actor:
    def __init__(self, work: PartScorer) -> None:
        self._work = work

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        parts = [msgspec.json.decode(content, type=OutputPart) for content in batch["part"]]
        return {"result": [msgspec.json.encode(self._work(part)) for part in parts]}
