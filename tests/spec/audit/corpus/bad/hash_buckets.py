"""Buckets by values that differ from process to process."""

from holdfast import step, workflow


@step
async def send(bucket: int, user: str) -> None:
    print(bucket, user)


@workflow
async def spread(users: list[str]) -> None:
    for user in users:
        await send(hash(user) % 8, user)  # expect: HF-A031
    for user in sorted(users, key=id):  # expect: HF-A031
        await send(0, user)
