//! Every algorithm with its model, properties, costs and a scenario, and the stacks built of them.
