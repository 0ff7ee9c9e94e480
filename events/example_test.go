package events_test

import (
	"fmt"

	"freshet/events"
)

// A consumer looks at the subject to know what a message is, and decodes its body.
func ExampleDecodeChanges() {
	subject := "cdc.main.change.public.blogs"
	body := []byte(`{"version":1,"source":"main","position":"0/16B3748","xid":740,"committed":"2026-02-03T04:05:06.789012Z",
		"sequence":0,"last":true,"schema":"public","table":"blogs","identity":"default","changes":[
		{"op":"update","key":{"id":"42"},"old":{"id":"42"},"new":{"id":"42","title":"Spring","author":null},"unknown":["content"]}]}`)

	kind, err := events.SubjectKind(subject)
	if err != nil || kind != events.KindChange {
		return
	}
	message, err := events.DecodeChanges(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, change := range message.Changes {
		id, _ := change.Key.Get("id")
		fmt.Println(message.Position, change.Op, message.Schema+"."+message.Table, id.Value)
		for _, column := range []string{"title", "author", "content"} {
			switch field, known := change.New.Get(column); {
			case !known:
				fmt.Println(" ", column, "is not in the message: read the row")
			case field.Null:
				fmt.Println(" ", column, "is NULL")
			default:
				fmt.Printf("  %s is %q\n", column, field.Value)
			}
		}
	}
	// Output:
	// 0/16B3748 update public.blogs 42
	//   title is "Spring"
	//   author is NULL
	//   content is not in the message: read the row
}
