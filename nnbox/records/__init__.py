"""What passes between stages: frozen, validated, versioned records and their JSON form."""
