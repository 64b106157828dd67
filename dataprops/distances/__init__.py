"""All pairwise distances of a set of images, reduced to each image's k nearest neighbours, its sharpest pair (the nearest image with
another label), and the near-identical pairs. Exact and order-independent, on CPUs, GPUs or a cluster.

The reduction
-------------
Images are rows of uint8; squared distances are integers, computed from exact int8 products. The state is of fixed width and totally
ordered (`state`), so the result is bit-identical for any blocks and tiles, any number of threads or workers, and after a resumed or
incremental pass::

    rows ──┬── cut into blocks (plan) ──── jobs: pairs of blocks (jobs) ──── on threads, a pool or a device (runner)
           │                                         │
           │        columns of block b               ▼
           │      ┌────────┬────────┐        one unit: all pairs of two blocks, or within one (passes, on a device gpu)
           │      │  tile  │  tile  │                │
     rows  │      │        │        │                ▼  for each tile (tiles)
      of   │      ├────────┼────────┤        1. lower bounds from sketches prune pairs        sketch, bounds, seeds
    block a│      │  tile  │  tile  │        2. exact products, by the fastest route          product
           │      │        │        │        3. the epilogue folds them into the state        kernel; device_tiles, torch_tiles
           │      └────────┴────────┘                │
           ▼                                         ▼
    allpairs: every pair once                 state: heaps of neighbours, sharpest pairs, near pairs
    anchors: some rows against all            merged by (distance, number), finalized to sorted lists
    incremental: update the result of an
    earlier pass after a change

Modules
-------
- `plan` chooses block and tile sizes within the memory budget, or raises before any work.
- `Pass` (allpairs) holds the data of a pass: rows, blocks, positions, state, near pairs, sketches; `Runner` says where jobs run:
  threads, device, pool, tile size. `Unit` and `Side` (folds) are the same for one job.
- `handover` defines what is sent to a worker and back.
- `basis_choice` selects the projection of the sketches by a trial, `ordering` puts similar rows next to each other, `sketches` stores
  the sketches of a pass. Pairs that survive the bounds are tested again on downscaled images (`pooled`) before they are multiplied
  one by one (`dots`).
- The kernels (`kernel`, `seeds`, `sketch`, `bounds`, `dots`) know nothing of threads, files or blocks: they take arrays and write
  arrays in place. `lanes` is hand-written vector code for loops that compilers do not vectorise well.
- `torch_tiles` folds a tile with plain torch operations and is the reference of the tests; the fast versions are `device_tiles` on
  GPUs and `kernel` on CPUs.
- `vectors` is a separate pass over float vectors (representations), exact to float64.

Adding a kind of result
-----------------------
Add it to `state.State` (a field of fixed width and a total order), to `kernel.reduce_tile` and `fold_pairs`, and to `torch_tiles`;
tests/test_distances.py compares each with loops over Python integers.
"""
