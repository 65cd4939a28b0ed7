"""An open Charge Point Management System built of supervised actors."""
