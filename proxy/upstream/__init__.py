"""Our own HTTP/1.1 client side: one connection, a small pool, nothing that ever re-sends."""
