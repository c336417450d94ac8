"""What a serving model says of labelled records, however their labels came."""

from collections.abc import Sequence

from nearnorm.service.feedback.submission.second_opinion import Opinion
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.records.encoded import Rows
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.serving.model import LoadedModel

_AT_ONCE = 100


def opinions(model: LoadedModel, labels: Sequence[Label]) -> dict[str, Opinion]:
    """By digest; a record that the model cannot read is left out. Called in another thread."""
    found = {}
    for start in range(0, len(labels), _AT_ONCE):
        part = labels[start : start + _AT_ONCE]
        encoded = model.encoder.encode(Envelope(records=[label.record for label in part]))
        places = encoded.places()
        if not places:
            continue
        outputs = model.engine.run(Rows(encoded.rows.numeric, encoded.rows.codes))
        percentile, _ = model.ranks.judge(outputs.score)
        for row, place in enumerate(places):
            found[part[place].digest] = Opinion(
                float(outputs.score[row]),
                float(percentile[row]),
                int(outputs.prototype[row]),
                model.ref.version,
            )
    return found
