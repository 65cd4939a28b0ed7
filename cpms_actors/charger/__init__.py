"""The charger actor: live state, behaviour, commands."""
