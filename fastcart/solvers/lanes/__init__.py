"""The lane engine: 32 patients per core advance together in SIMD lanes, each with its own time and step.

A **lane** is one place of the vectors; whoever is in it has a column in every array. A step, an event and a
save come about like this:

1. `engine` lays out the buffers, and starts a `loop` in each thread. The loop lets patients into lanes
   (`lane.load`) and asks for one step of all of them.
2. A step is one compiled function per method and number of states (`step_explicit`, `step_rosenbrock`). It
   calls the right-hand side (`rhs`, compiled once per model) for all lanes, adds up stages and errors
   (`stage_sums`), bounds what is watched on the step (`step_bounds`), accepts or rejects, and flags lanes.
3. Nearly all steps are quiet. **Event detection** says which are not: for the burden in the step itself
   (`step_explicit.accept`), for all other items in `event_detection`. An item is a quantity with a level or
   an extremum; `watched_items` makes the table of them, from progression to extinction.
4. Steps that are not quiet wait in the `step_queue`, until enough have come to compute the stages that only
   the **dense output** needs (`dense_output`). Then crossings and turning points are located in them
   (`event_location`: `bernstein` counts and isolates roots, `root_finding` finds each) and recorded
   (`event_recording`), and the states at times to save are taken.
5. Doses, cuts and ends are looked after lane by lane (`lane`, `extinction`); who is done makes room for the
   next patient.

`codegen` writes the text of what is generated, `records` holds the named tuples of arrays that all of these
take, `layout` the rows of the buffers, `observed_quantities` the function that computes observables,
`intrinsics` what Python cannot say, `methods` what makes steps of a tableau.

To add an endpoint: a row in `watched_items`. To add a method: a file in `fastcart.solvers.tableaus`.
"""
