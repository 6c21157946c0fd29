"""A cache of the module, filled by runs and steps alike."""

from holdfast import set_state, step, workflow

CACHE: dict[str, str] = {}
SEEN = []


@step
async def look_up(country: str) -> str:
    SEEN.append(country)
    return country.title()


@workflow
async def capital(country: str) -> str:
    if country not in CACHE:  # expect: HF-A027
        CACHE[country] = await look_up(country)  # expect: HF-A027
    set_state(len(SEEN))  # expect: HF-A027
    return CACHE[country]  # expect: HF-A027


@capital.query
def known(state: int) -> int:
    return state + len(CACHE)  # expect: HF-A027
