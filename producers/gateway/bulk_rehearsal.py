"""`?dry_run=true`: every verdict an upload would get, and nothing published, kept or counted."""

from typing import Any
from uuid import UUID

from producers.bulk_split import BulkFileError
from producers.gateway.bulk_book import RejectedItem
from producers.gateway.bulk_intake import BulkIntake, Upload
from producers.gateway.bulk_lots import TooManyItemsError, lots_in
from producers.gateway.bulk_problems import too_many, unreadable

FIRST_REJECTIONS = 1000


async def rehearsed(intake: BulkIntake, upload: Upload) -> dict[str, Any]:
    """The counts, and the first items that would be refused. Raises Problem 400, 413."""
    check = intake.check_of(upload, UUID(int=0))
    items = rejected = 0
    first: list[RejectedItem] = []
    try:
        async for lot in lots_in(upload.content, upload.splitter):
            items = lot.last
            for number, item in enumerate(lot.items, lot.first):
                checked = check.checked(number, item)
                if isinstance(checked, str):
                    rejected += 1
                    if len(first) < FIRST_REJECTIONS:
                        first.append(RejectedItem(number, item.line, checked))
    except BulkFileError as error:
        raise unreadable(str(error), None) from None
    except TooManyItemsError:
        raise too_many(None) from None
    return {
        "dry_run": True,
        "items": items,
        "accepted": items - rejected,
        "rejected": rejected,
        "rejections": [each._asdict() for each in first],
        "more_rejections": rejected > len(first),
    }
