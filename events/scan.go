package events

import (
	"database/sql"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Scan sets the fields of a struct from the columns of the row. A column belongs to the field whose tag `db`, or else `json`, names it,
// or else to the field of that name, in any case; `db:"-"` leaves a field out. Columns without a field are passed over, and fields whose
// column the row does not hold stay as they are: of an update they may be unknown (Change.Unknown).
//
// Values are converted from what Postgres prints: to strings, booleans, integers, floats, time.Time (timestamp, timestamptz, date),
// []byte (bytea), json.RawMessage, pointers (nil is NULL), and whatever is a sql.Scanner or an encoding.TextUnmarshaler. NULL makes any
// other field an error, and so does a value that does not fit.
func (r Row) Scan(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("scan a row: expected a pointer to a struct, got %T", into)
	}
	v = v.Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, ok := columnOf(f)
		if !ok {
			continue
		}
		for j := range r {
			if r[j].Name != name && !strings.EqualFold(r[j].Name, name) {
				continue
			}
			if err := r[j].scan(v.Field(i)); err != nil {
				return fmt.Errorf("scan the column %q into the field %s: %w", r[j].Name, f.Name, err)
			}
			break
		}
	}
	return nil
}

// columnOf is the column that belongs to a field.
func columnOf(f reflect.StructField) (name string, ok bool) {
	if !f.IsExported() {
		return "", false
	}
	for _, key := range []string{"db", "json"} {
		tag, _, _ := strings.Cut(f.Tag.Get(key), ",")
		if tag == "-" {
			return "", false
		}
		if tag != "" {
			return tag, true
		}
	}
	return f.Name, true
}

var errNull = errors.New("it is NULL: make the field a pointer")

// scan sets v.
func (f Field) scan(v reflect.Value) error {
	if s, ok := reflect.TypeAssert[sql.Scanner](v.Addr()); ok {
		if f.Null {
			return s.Scan(nil)
		}
		return s.Scan(f.Value)
	}
	if v.Kind() == reflect.Pointer {
		if f.Null {
			v.SetZero()
			return nil
		}
		to := reflect.New(v.Type().Elem())
		if err := f.scan(to.Elem()); err != nil {
			return err
		}
		v.Set(to)
		return nil
	}
	if f.Null {
		return errNull
	}
	switch to := v.Addr().Interface().(type) {
	case *time.Time:
		t, err := ParseTime(f.Value)
		*to = t
		return err
	case *json.RawMessage:
		if !json.Valid([]byte(f.Value)) {
			return errors.New("it is no JSON")
		}
		*to = json.RawMessage(f.Value)
		return nil
	case *[]byte:
		digits, ok := strings.CutPrefix(f.Value, `\x`)
		if !ok {
			return errors.New(`it is no bytea in the form \x…`)
		}
		b, err := hex.DecodeString(digits)
		*to = b
		return err
	case encoding.TextUnmarshaler:
		return to.UnmarshalText([]byte(f.Value))
	}
	return f.scanKind(v)
}

func (f Field) scanKind(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.Value)
	case reflect.Bool:
		if f.Value != "t" && f.Value != "f" {
			return fmt.Errorf("%q is no boolean", f.Value)
		}
		v.SetBool(f.Value == "t")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(f.Value, 10, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(f.Value, 10, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(f.Value, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetFloat(n)
	default:
		return fmt.Errorf("a field of type %s cannot hold it", v.Type())
	}
	return nil
}

// The forms in which Postgres prints times with DateStyle ISO (EncodeDateTime in src/backend/utils/adt/datetime.c). Seconds have up to
// six decimals, and a zone has minutes only where it is not of whole hours.
var timeForms = []string{"2006-01-02 15:04:05-07", "2006-01-02 15:04:05-07:00", "2006-01-02 15:04:05", "2006-01-02"}

// ParseTime reads a timestamptz, a timestamp or a date as Postgres prints it; what has no zone is taken for UTC. infinity and dates
// before Christ, which a time.Time has no form for, are errors.
func ParseTime(s string) (time.Time, error) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time that a time.Time can hold", s)
}
