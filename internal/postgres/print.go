package postgres

// PrintSettings fix how values are printed: the log's contract, whatever the role's or the database's defaults are.
var PrintSettings = map[string]string{
	"client_encoding":    "UTF8",
	"DateStyle":          "ISO, MDY",
	"IntervalStyle":      "postgres",
	"TimeZone":           "UTC",
	"extra_float_digits": "3",
	"bytea_output":       "hex",
}
