"""The distances of all pairs of images, reduced to what an audit needs: each image's nearest others, its sharpest pair - the nearest
of another label -, and the near-identical pairs. Exact, in any order, on CPUs or GPUs, here or on a cluster.

What is reduced
---------------
Images are rows of uint8; squared distances are integers, computed from exact int8 products. A reduction is data of a fixed width with
a total order (`state`), so that any cut into blocks and tiles, any number of threads or workers, a resumed pass and an incremental
one end in the same bits::

    rows ──┬── cut into blocks (plan) ──── jobs: pairs of blocks (jobs) ──── on threads, a pool or a device (runner)
           │                                         │
           │        columns of block b               ▼
           │      ┌────────┬────────┐        one unit: all pairs of two blocks, or within one (passes, on a device gpu)
           │      │  tile  │  tile  │                │
     rows  │      │        │        │                ▼  for each tile (tiles)
      of   │      ├────────┼────────┤        1. lower bounds from sketches spare products     sketch, bounds, seeds
    block a│      │  tile  │  tile  │        2. exact products, by the fastest route          product
           │      │        │        │        3. the epilogue folds them into the state        kernel; device_tiles, torch_tiles
           │      └────────┴────────┘                │
           ▼                                         ▼
    allpairs: every pair once                 state: heaps of neighbours, sharpest pairs, near pairs
    anchors: some rows against all            merged by (distance, number), finalized to sorted lists
    incremental: from what an earlier pass
    found, only what a change touches

What each module knows
--------------
- `plan` cuts so that the projected memory fits, or refuses before any work.
- `Pass` (allpairs) is what jobs work on - rows, blocks, places, state, near pairs, sketches -, `Runner` where they run: threads,
  device, pool, rows of a tile. `Unit` and `Side` (folds) are the same for one job.
- `handover` is what travels to a worker and back.
- `basis_choice` tries which directions sketches are made of, `ordering` puts similar rows together, `sketches` keeps the sketches
  of a pass. Pairs that the bounds let pass are looked at again through small pictures (`pooled`) before they are multiplied one by
  one (`dots`).
- The kernels (`kernel`, `seeds`, `sketch`, `bounds`, `dots`) know nothing of threads, files or blocks: arrays in, arrays written
  in place. `lanes` holds the vector code that compilers do not make of their loops.
- `torch_tiles` says in plain torch operations what a tile adds: the oracle of the tests. `device_tiles` is its quick twin on GPUs,
  `kernel` on CPUs.
- `vectors` is a pass of its own over float vectors (representations), exact to float64.

A new kind of result
--------------------
goes into `state.State` (a field of fixed width and a total order), into `kernel.reduce_tile` and `fold_pairs`, and into `torch_tiles`;
tests/test_distances.py compares each with loops over Python integers.
"""
