"""From a recipe to results: validate, build the graph, run what is missing, compare with truth."""
