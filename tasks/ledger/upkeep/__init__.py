"""Work on all of a ledger: its tables read and written, copied, checked; what nobody needs any more taken out."""
