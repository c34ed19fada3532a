"""The process: settings, wiring, turns, commands, HTTP, telemetry. The only room that knows both others."""
