"""How the processes of one machine are started, beside `app.server.supervisor` which watches them."""
