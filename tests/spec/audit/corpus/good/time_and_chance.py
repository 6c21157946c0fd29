"""Time and chance that a replay repeats, and the calendar, which needs neither."""

import random
import time
import uuid
from datetime import UTC, datetime
from hashlib import sha256

from holdfast import now, workflow
from holdfast import random as chance
from holdfast import uuid4 as new_uuid


@workflow
async def draw(names: list[str]) -> str:
    seeded = random.Random(sha256("-".join(names).encode()).hexdigest())
    stable = uuid.uuid5(uuid.NAMESPACE_URL, names[0])
    epoch = datetime.fromtimestamp(0, UTC)
    written = time.strftime("%Y", time.gmtime(now().timestamp()))
    names = chance().sample(names, k=2) + [seeded.choice(names)]
    chance().shuffle(names)
    return f"{names} {new_uuid()} {stable} {epoch} {written} {uuid.UUID(int=7)}"
