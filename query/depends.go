package query

import (
	"fmt"
	"slices"
	"strings"
)

// depends reads "blogs(status), users(id = :user_id)".
func (p *parser) depends(line int, value string) {
	c := &cursor{s: value}
	for {
		d, err := dependency(c)
		if err != nil {
			p.add(line, "depends: %v", err)
			return
		}
		d.Line = line
		p.q.Depends = append(p.q.Depends, d)
		if c.done() {
			return
		}
		if !c.accept(',') {
			p.add(line, "depends: a comma is missing before %s", c.rest())
			return
		}
	}
}

// dependency reads one "schema.table(pins)".
func dependency(c *cursor) (Dependency, error) {
	var d Dependency
	name, err := c.identifier()
	if err != nil {
		return d, err
	}
	d.Table = name
	if c.accept('.') {
		if d.Table, err = c.identifier(); err != nil {
			return d, err
		}
		if d.Schema = name; name == "" {
			return d, fmt.Errorf("a schema's name is missing before the dot")
		}
	}
	if d.Table == "" {
		return d, fmt.Errorf("a table's name is missing before %s", c.rest())
	}
	if !c.accept('(') {
		return d, fmt.Errorf("%s needs parentheses: %s() for the whole table, %s(column) to pin a column", d.Table, d.Table, d.Table)
	}
	for !c.accept(')') {
		if len(d.Columns) > 0 && !c.accept(',') {
			return d, fmt.Errorf("%s(...) needs a comma or ) before %s", d.Table, c.rest())
		}
		pin, err := readPin(c)
		if err != nil {
			return d, fmt.Errorf("%s: %w", d.Table, err)
		}
		if slices.ContainsFunc(d.Columns, func(p Pin) bool { return p.Column == pin.Column }) {
			return d, fmt.Errorf("%s pins the column %s twice", d.Table, pin.Column)
		}
		d.Columns = append(d.Columns, pin)
	}
	slices.SortFunc(d.Columns, func(a, b Pin) int { return strings.Compare(a.Column, b.Column) })
	return d, nil
}

// readPin reads "status", "author = :who", "status = 'published'", "kind = 3" or "hidden = false".
func readPin(c *cursor) (Pin, error) {
	column, err := c.identifier()
	if err != nil {
		return Pin{}, err
	}
	if column == "" {
		return Pin{}, fmt.Errorf("a column's name is missing before %s", c.rest())
	}
	if !c.accept('=') {
		return Pin{Column: column, Param: column}, nil
	}
	switch {
	case c.accept(':'):
		name := c.word()
		if name == "" {
			return Pin{}, fmt.Errorf("a parameter's name is missing after : before %s", c.rest())
		}
		return Pin{Column: column, Param: name}, nil
	case c.next() == '\'':
		text, err := c.quoted('\'')
		if err == nil {
			err = checkText(text)
		}
		return Pin{Column: column, Const: text}, err
	}
	literal := c.until(",)")
	if n, ok := canonicalInt(literal, 64); ok {
		return Pin{Column: column, Const: n}, nil
	}
	if literal == "true" || literal == "false" {
		return Pin{Column: column, Const: literal[:1]}, nil // as Postgres prints it
	}
	return Pin{}, fmt.Errorf("%s = %q: a pin is a :parameter, a 'text', an integer, true or false", column, literal)
}

// checkDepends reports dependencies that do not fit the parameters.
func (p *parser) checkDepends() {
	for _, d := range p.q.Depends {
		for _, pin := range d.Columns {
			if pin.Param == "" {
				continue
			}
			switch param := p.q.param(pin.Param); {
			case param == nil:
				p.add(d.Line, "depends: %s(%s) is pinned by the parameter %s, which is not declared%s",
					d.Table, pin.Column, pin.Param, suggest(pin.Param, p.paramNames()))
			case param.Type == "":
				// Declared wrongly, and said so.
			case !param.Type.exact():
				p.add(d.Line, "depends: %s(%s) is pinned by %s, but a %s equals values that are written differently; use %s()",
					d.Table, pin.Column, pin.Param, param.Type, d.Table)
			case !param.Required && param.Default == nil:
				// WHERE :p IS NULL OR col = :p matches every row, and no change would carry the tag col=NULL.
				p.add(d.Line, "depends: %s(%s) is pinned by %s, which is optional and pins nothing when it is absent; use %s()",
					d.Table, pin.Column, pin.Param, d.Table)
			}
		}
	}
}

func (p *parser) paramNames() []string {
	names := make([]string, len(p.q.Params))
	for i, param := range p.q.Params {
		names[i] = param.Name
	}
	return names
}
