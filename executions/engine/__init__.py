"""The engine: a pure heart (plan, state) that decides, and a thin shell (driver, store, engine) that acts."""
