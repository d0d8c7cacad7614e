"""The benchmark of tcp-forwarder against HAProxy, nginx and a direct connection."""
