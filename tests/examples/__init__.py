"""Complete tasks as an owner would write them; the tests run them against a local fake."""
