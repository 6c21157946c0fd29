"""One thing done to many items: `map_steps` in code and the maps of DAGs, in one run or spread over child runs."""
