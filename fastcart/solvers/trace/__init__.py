"""Right-hand sides as graphs: run once with recording numbers, then differentiate, factor and compile them.

- `graph`: the graph and what arithmetic does to it.
- `following`: run a function and all it calls, once for every way through its branches; `rules` has what
  stands in for elementary functions there.
- `forward`: exact derivatives of a graph, by forward mode.
- `sparse`: factors of a sparse matrix of numbers of a graph.
- `program`: the right-hand side of a model as it is integrated, as a graph.
- `source`: a graph as Python text again.
- `sensitivities`: a system with its derivatives by parameters and initial values.
- `jumps`: whether a right-hand side jumps where a state crosses a level.
- `evaluate`: the numbers of a graph in Python, to check it.
- `vectors`, `machine`: a graph as vector code, compiled by LLVM and kept on disk.
"""
