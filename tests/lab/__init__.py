"""Real servers for tests, benches and people: started in a folder of their own, on loopback, stopped by pid."""
