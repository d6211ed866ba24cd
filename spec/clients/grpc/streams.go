package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

func check(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	client := health.NewHealthClient(c.connection)
	for _, service := range []string{"", "dev.sigstore.fulcio.v2.CA"} {
		got, err := client.Check(ctx, &health.HealthCheckRequest{Service: service})
		if err != nil {
			return err
		}
		if got.Status != health.HealthCheckResponse_SERVING {
			return fmt.Errorf("%q: %v", service, got.Status)
		}
	}
	_, err := client.Check(ctx, &health.HealthCheckRequest{Service: "none"})
	return expect(err, codes.NotFound)
}

// deadline passes while the server has more to say.
func deadline(c *Caller) error {
	ctx, cancel := context.WithTimeout(context.Background(),
		300*time.Millisecond)
	defer cancel()
	stream, err := health.NewHealthClient(c.connection).Watch(ctx,
		&health.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if _, err = stream.Recv(); err != nil {
		return err
	}
	_, err = stream.Recv()
	if wrong := expect(err, codes.DeadlineExceeded); wrong != nil {
		return wrong
	}
	return check(c)
}

func watch(c *Caller) error {
	wanted := map[string]health.HealthCheckResponse_ServingStatus{
		"":     health.HealthCheckResponse_SERVING,
		"none": health.HealthCheckResponse_SERVICE_UNKNOWN,
	}
	for service, want := range wanted {
		ctx, cancel := within(20)
		defer cancel()
		stream, err := health.NewHealthClient(c.connection).Watch(ctx,
			&health.HealthCheckRequest{Service: service})
		if err != nil {
			return err
		}
		got, err := stream.Recv()
		if err != nil || got.Status != want {
			return fmt.Errorf("%q: %v, %v", service, got, err)
		}
		cancel()
		_, err = stream.Recv()
		if wrong := expect(err, codes.Canceled); wrong != nil {
			return wrong
		}
	}
	return nil
}

func ask(stream grpc.BidiStreamingClient[reflection.ServerReflectionRequest,
	reflection.ServerReflectionResponse],
	request *reflection.ServerReflectionRequest) (*reflection.ServerReflectionResponse, error) {
	if err := stream.Send(request); err != nil {
		return nil, err
	}
	return stream.Recv()
}

// reflect asks several questions in one stream, as grpcurl does.
func reflect(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	stream, err := reflection.NewServerReflectionClient(c.connection).
		ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	got, err := ask(stream, &reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{
			ListServices: "*"}})
	if err != nil {
		return err
	}
	var names []string
	for _, one := range got.GetListServicesResponse().GetService() {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	if strings.Join(names, " ") != "dev.sigstore.fulcio.v1beta.CA "+
		"dev.sigstore.fulcio.v2.CA grpc.health.v1.Health "+
		"grpc.reflection.v1.ServerReflection "+
		"grpc.reflection.v1alpha.ServerReflection" {
		return fmt.Errorf("%v", names)
	}
	for _, name := range names {
		got, err = ask(stream, &reflection.ServerReflectionRequest{
			MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{
				FileContainingSymbol: name}})
		if err != nil {
			return err
		}
		files := got.GetFileDescriptorResponse().GetFileDescriptorProto()
		if len(files) == 0 {
			return fmt.Errorf("no file for %s", name)
		}
		if err := proto.Unmarshal(files[0], &descriptorpb.FileDescriptorProto{}); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}
