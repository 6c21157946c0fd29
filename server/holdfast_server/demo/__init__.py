"""What `make demo` and `holdfast demo` run: the examples, and a worker that is killed in the middle."""
